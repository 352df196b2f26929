"""Copies variables between this process and another kernel: whole and exact, or not at all."""
