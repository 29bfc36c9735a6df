"""Drawing on photographs: colours, label tags and a canvas. Knows nothing of a model or a task."""
