"""What compression did to each class: CEV, SDE and PIE of a model beside its reference. Numbers are pure numpy; torch comes in late."""
