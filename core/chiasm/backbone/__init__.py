"""The designs of vision-language models that core can speak through."""
