"""Buckets in containers, against a real S3 server."""
