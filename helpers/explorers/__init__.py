"""Explorers of the lessons: pictures that follow sliders, one module for each lesson."""
