output "role_arn" {
  description = "ARN of the role, in the account that it is for."
  value       = aws_iam_role.member.arn
}

output "role_name" {
  description = "Name of the role, which the deployment must know."
  value       = aws_iam_role.member.name
}
