"""The experiment on training: which recipe trains the best supernet at equal MACs, and are its subnets as good as the
same networks trained alone?
"""
