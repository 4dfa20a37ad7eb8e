// networks
