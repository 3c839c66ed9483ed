"""`make bench`: what Skerry costs, each figure beside its floor or a peer measured in the same run."""
