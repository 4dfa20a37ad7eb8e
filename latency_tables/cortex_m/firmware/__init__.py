"""What a network needs besides its kernels to run on a bare core, in C: start-up, one inference after another."""
