"""The store in the terminal: hosts, processes, and one process through time. `app` is the way in; only it and what it shows load Textual."""
