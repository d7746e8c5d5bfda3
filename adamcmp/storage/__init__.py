"""Results on disk: folders and URLs, the columns of stored tables, and reading, writing and merging them."""
