"""What compression did to each class: CEV, SDE and PIE of a model beside its reference."""
