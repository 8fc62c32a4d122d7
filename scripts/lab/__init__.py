"""The lab: two network namespaces with real programs, and the engine as the piece of wire between them."""
