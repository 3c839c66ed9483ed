"""What sandboxes stand: kills, numbers, size, and those who mean harm."""
