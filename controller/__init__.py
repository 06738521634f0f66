"""The controller: shared language, storage, HTTP, workflows, pages and the composition root."""
