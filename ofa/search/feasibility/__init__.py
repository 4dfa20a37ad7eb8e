"""Can any network keep these limits, and what is the least of a cost within the others?"""
