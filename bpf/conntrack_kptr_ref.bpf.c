/* An entry kept in a map under the tag that a referenced pointer had until v6.4. */
#define KPTR_TAG "kptr_ref"
#define REFERENCED
#include "conntrack_kptr.h"
