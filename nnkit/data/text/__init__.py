"""Texts as token ids: long texts for language models, labelled texts for classification."""
