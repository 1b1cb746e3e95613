"""What programs and commands have in common: from words to results."""
