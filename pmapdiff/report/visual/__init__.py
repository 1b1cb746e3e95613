"""Pictures of a history, and the page that holds them: what is in it, how it looks, and what is taken out before it leaves the house.

`content` turns results into what is to be seen, `redact` takes names out of it, the modules of pictures make a Vega specification each
(https://vega.github.io/vega/), `draw` has them drawn, and `page` puts all into one file.
"""
