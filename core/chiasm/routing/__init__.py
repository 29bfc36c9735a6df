"""From the model's answer to routes: token rows, the answer's grammar, free and guided generation."""
