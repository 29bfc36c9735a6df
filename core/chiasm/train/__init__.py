"""Training: data, views, requests and the loop; nothing is imported here, so that the command line stays light."""
