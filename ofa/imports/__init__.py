"""What published once-for-all networks gave their users, brought into this project: checkpoints and subnets."""
