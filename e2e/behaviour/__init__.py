"""What sandboxes do, as a table that every SDK is driven through."""
