"""The cases that laws are tried on: values, shapes, domains, layouts, blocks, and smaller cases of a failure."""
