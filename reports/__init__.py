"""Tables, plots and pages made from protocol results; never imports a model."""
