"""A virtual machine in the place of the middle namespace: the engine in it owns its NICs through vfio-pci, behind an IOMMU."""
