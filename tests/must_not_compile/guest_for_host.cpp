// rejects: conversion|convert
// A guest offset is no host offset: mixing them up reads somebody else's data.
#include "base/units.hpp"

int main() {
#ifdef GOOD
  const cowvet::base::HostOffset host{1};
#else
  const cowvet::base::HostOffset host = cowvet::base::GuestOffset{1};
#endif
  return static_cast<int>(host.raw());
}
