"""Commands that need a bucket and its key alone: what points there are, what is in one, and bringing it back."""
