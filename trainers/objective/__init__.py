"""What a step descends: losses, class weights, mixed images, conflicts between subnets."""
