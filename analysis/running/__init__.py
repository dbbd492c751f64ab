"""Parts computed in other processes, here or on a cluster, and what a question says of them."""
