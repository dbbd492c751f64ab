"""How figures are drawn: style and roles, panels, densities, planes, SVG."""
