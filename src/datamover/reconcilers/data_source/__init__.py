"""DataSources: a name for what new disks are made of. Whether what it stands for can be used is its status.

- `resolve` says what it comes to in the end, `facts` and `gather` what is known of that.
- `decide` says what is the case, and what labels come with it; `status` writes it.
"""
