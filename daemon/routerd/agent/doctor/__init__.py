"""What `routerctl doctor` looks at: small checks, each giving findings, and each finding with its fix."""
