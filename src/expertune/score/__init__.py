"""Let every expert judge every question against every answer."""
