"""A scan on the local AWS: started, followed, verified record by record, and told as text, facts and a picture."""
