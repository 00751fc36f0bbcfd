// What the program's heap has free, given back to the system. Promises: nothing in use is touched.
#pragma once

namespace cowvet::storage {

// Worth its time (a look through the whole heap) only after much was freed: what one thread's heap keeps is of no use
// to the others.
void give_back_free_heap();

}  // namespace cowvet::storage
