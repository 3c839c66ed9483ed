"""How an app gets to the server: its source, files, images and secrets, its run and its deployment, and what is shown meanwhile."""
