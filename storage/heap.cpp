#include "storage/heap.hpp"

#include <malloc.h>

namespace cowvet::storage {

void give_back_free_heap() { malloc_trim(0); }

}  // namespace cowvet::storage
