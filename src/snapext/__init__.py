"""SnapStart hooks in every process of a web server on AWS Lambda."""
