"""How we know: inputs, laws, and the commands that run them."""
