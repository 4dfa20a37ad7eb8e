"""What can be built: genes, operators, exact costs, and the elastic networks that hold every subnet.

Importing this package imports no torch; the networks live in `search_spaces.supernet` and `search_spaces.plain`.
"""

from search_spaces.architecture import Architecture
from search_spaces.genome import Choice, Gene, Genome
from search_spaces.registry import get_space, list_spaces
from search_spaces.space import SearchSpace, Slot

__all__ = ["Architecture", "Choice", "Gene", "Genome", "SearchSpace", "Slot", "get_space", "list_spaces"]
