"""What volumes stand: kills, numbers, size, and many who write."""
