/* An entry kept in a map under the tag that an untrusted pointer has since v6.4. */
#define KPTR_TAG "kptr_untrusted"
#define UNTRUSTED
#include "conntrack_kptr.h"
