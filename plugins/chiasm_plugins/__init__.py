"""The built-in tasks. Each folder is a plugin like any other; core does not know that they exist."""
