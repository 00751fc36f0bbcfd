// One function for each alternative of a variant.
#pragma once

namespace cowvet::model {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

}  // namespace cowvet::model
