/* dhcp_fuzz.c - the DHCP parser: nothing is written unless the message is well-formed. */
#include "nat/dhcp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct dhcp_request request;
    struct dhcp_request untouched;

    memset(&request, 0xa5, sizeof request);
    memcpy(&untouched, &request, sizeof request);
    if (dhcp_parse(&request, data, bytes)) {
        if (request.type == 0 || (request.mac[0] & 1) != 0)
            abort();
    } else if (memcmp(&request, &untouched, sizeof request) != 0) {
        abort();
    }
    return 0;
}
