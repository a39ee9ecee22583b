# Who a guest may talk to. Knows nobody.
proxy_library(proxy_policy policy SOURCES policy.c address.c)
