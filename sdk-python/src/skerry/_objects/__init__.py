"""What users define: apps, functions, images and secrets."""
