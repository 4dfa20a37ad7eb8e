"""The C sources of the kernels, each file an object of its own. `kernels.h` says what each takes."""
