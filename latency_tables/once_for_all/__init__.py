"""The latency tables of once-for-all (https://github.com/mit-han-lab/once-for-all) as published: YAML files, one a
resolution, with count, mean and standard deviation by operator string.
"""
